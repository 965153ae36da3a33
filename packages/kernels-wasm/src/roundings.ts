import type { KernelRounding } from '@lowbit/core'

/**
 * Integer sums are exact. After them a group is converted to float, corrected by its zero point (two roundings: product
 * and sum, and the zero point itself is rounded where it is a float), multiplied by the scale of the activations, which was
 * rounded itself, and by its own, and added to the row's sum (one rounding for each group still to come), which meets the
 * bias. That is one rounding a group and eight more, each at most 2^-24 of the terms' size; a ninth covers their products.
 */
const INTEGER: KernelRounding = { perTerm: 1, fixed: 9 }

/** A product and a sum for each column, the weight's own two roundings, the bias; weights with float zero points one more. */
const FLOAT: KernelRounding = { perTerm: 1, fixed: 5 }

export const ROUNDINGS = { integerRounding: INTEGER, floatRounding: FLOAT } as const
