/** What the command knows of recipes, without Node: its algorithms, what it takes, and the command line of a recipe. */
export { ALGORITHMS, CALIBRATED_DEFAULT } from './algorithms.js'
export { UNION } from './union.js'
export { SHORT, longName } from './short-names.js'
export { STATIC_FORMATS, type QuantizeValues } from './quantize-flags.js'
export { formatOf, isPrepared, recipeOfValues, type RecipePaths } from './recipe-of-values.js'
export { commandLine, valuesOfRecipe } from './command-line.js'
