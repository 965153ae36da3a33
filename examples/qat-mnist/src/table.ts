import type { Curve } from '@lowbit/core'
import type { Result } from './results.js'
import type { Row } from './rows.js'

export type Scores = ReadonlyMap<string, Result>

export const COLUMNS = ['weights', 'method', 'percent', 'drop from float', 'in ONNX Runtime', 'on lowbit kernels', 'KiB'] as const

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

/** One line a method: the mean over seeds, what is lost against the float models of the same seeds, and what ONNX Runtime gives. */
export function tableRows(seeds: readonly Scores[], rows: readonly Row[]): string[][] {
  const of = (name: string): Result[] => seeds.flatMap((scores) => scores.get(name) ?? [])
  const float = mean(of('float').map((r) => r.accuracy))
  const line = (title: string, method: string, name: string): string[] => {
    const results = of(name)
    const score = mean(results.map((r) => r.accuracy))
    const deployed = results.flatMap((r) => r.deployed ?? [])
    const runs = deployed.length === 0 ? ['', '', ''] : [mean(deployed.map((d) => d.accuracy)).toFixed(2), mean(deployed.map((d) => d.kernels)).toFixed(2), (deployed[0].bytes / 1024).toFixed(0)]
    return [title, method, score.toFixed(2), (float - score).toFixed(2), ...runs]
  }
  return [
    ['float32', '', float.toFixed(2), '', '', '', ''],
    ...rows.flatMap(({ title, after, during }) => [
      ...after.map(({ name }) => line(title, `after training, ${name}`, `${title} / after / ${name}`)),
      ...during.map(({ name, scratch }) => line(title, scratch === true ? name : `trained, ${name}`, `${title} / during / ${name}`)),
    ]),
  ]
}

export function markdown(columns: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(columns), line(columns.map((_, i) => (i < 2 ? '---' : '---:'))), ...lines.map(line)].join('\n')
}

/** Loss while training from the float model, of one seed. */
export function curvesOf(scores: Scores, rows: readonly Row[]): Curve[] {
  return rows.flatMap(({ title, during }) =>
    during.flatMap(({ name, scratch }) => {
      const points = scores.get(`${title} / during / ${name}`)?.curve
      return points === undefined || scratch === true ? [] : [{ name: `${title}, ${name}`, points }]
    }),
  )
}
