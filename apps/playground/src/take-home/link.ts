import { LowbitError, parseRecipe, type Recipe } from '@lowbit/core'
import { UNION } from 'lowbit/recipes'
import type { VariantResult } from '../lab/messages.js'

/** What a link says of what was made; never weights. */
export interface LinkSummary {
  readonly model: string
  readonly before: number
  readonly after: number
  /** Of the worst output, dB. */
  readonly sqnr?: number
  readonly top1?: number
}

export interface LinkContent {
  readonly recipe: Recipe
  readonly summary?: LinkSummary
}

/** Longer ones are no link of ours. */
const MOST = 20_000
const KEY = 's='

/** The part of an address behind `#` that carries settings and a summary. */
export function linkHash(content: LinkContent): string {
  const bytes = new TextEncoder().encode(JSON.stringify(content))
  return KEY + btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

/**
 * Reads it back; undefined where there is none.
 * @throws LOWBIT_RECIPE, LOWBIT_ARGUMENT for what was not made here, or not by this version
 */
export function readLink(hash: string): LinkContent | undefined {
  const text = hash.replace(/^#/, '')
  if (!text.startsWith(KEY)) return undefined
  if (text.length > MOST) throw wrong(`${text.length} characters`)
  const value = parse(text.slice(KEY.length))
  if (typeof value !== 'object' || value === null || !('recipe' in value)) throw wrong('something else')
  const recipe = parseRecipe(value.recipe, UNION)
  const summary = 'summary' in value ? summaryOf(value.summary) : undefined
  return { recipe, ...(summary === undefined ? {} : { summary }) }
}

function parse(text: string): unknown {
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    throw wrong('text that cannot be read')
  }
}

function summaryOf(value: unknown): LinkSummary | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { model, before, after, sqnr, top1 }: { readonly [K in keyof LinkSummary]?: unknown } = value
  if (typeof model !== 'string' || !isNumber(before) || !isNumber(after)) return undefined
  return { model: model.slice(0, 200), before, after, ...(isNumber(sqnr) ? { sqnr } : {}), ...(isNumber(top1) ? { top1 } : {}) }
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function wrong(found: string): LowbitError {
  return new LowbitError('LOWBIT_ARGUMENT', { thing: 'the link', found, expected: 'settings of this page', fix: 'copy the whole link again' })
}

/** What a variant came to, for its link. */
export function summarise(model: string, { report }: VariantResult): LinkSummary {
  const worst = [...(report.comparison?.outputs ?? [])].sort((a, b) => a.sqnr - b.sqnr)[0]
  return { model, before: report.sizeBefore, after: report.sizeAfter, ...(worst === undefined ? {} : { sqnr: Math.round(worst.sqnr * 100) / 100, ...(worst.top1 === undefined ? {} : { top1: worst.top1 }) }) }
}
