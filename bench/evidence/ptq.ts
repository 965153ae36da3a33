import { createHash } from 'node:crypto'
import { openOnnx } from '@lowbit/backend-ort'
import { quantize } from '@lowbit/core'
import type { Run } from '../models/index.ts'
import { StatisticsCache } from './cached-statistics.ts'
import { cpuSeconds } from './cpu-seconds.ts'
import { mnistTask, ocrTask, squeezenetTask, storiesTask, type Task } from './tasks.ts'
import type { EvidenceModule, EvidenceTable, Selection } from './types.ts'

/** GPTQ, AWQ and rotation against their neighbours, by what the whole model does: a module a model, as each takes minutes. */
export const ptq: readonly EvidenceModule[] = [module('ptq-stories', storiesTask), module('ptq-ocr', ocrTask), module('ptq-squeezenet', squeezenetTask), module('ptq-mnist', mnistTask)]

function module(name: string, make: () => Promise<Task>): EvidenceModule {
  return { name, partial: true, run: async (log, selection, keep) => [await table(await make(), log, selection, keep)] }
}

async function table(task: Task, log: (line: string) => void, selection: Selection, keep: (tables: readonly EvidenceTable[]) => void): Promise<EvidenceTable> {
  const { id, title, note, model, columns, methods, exclude, show, targets, format } = task
  const float = await openOnnx(model.path)
  const runFloat = remembered((batch) => float.run(batch))
  const calibration = await model.calibration()
  const cache = new StatisticsCache()
  const time = 'After each figure: processor time of the whole quantization, calibration included, all threads together'
  const rows: string[][] = [['float32', show(await model.evaluate(runFloat, runFloat)), ...columns.slice(1).map(() => '')]]
  const tableOf = (done: readonly string[][]): EvidenceTable => {
    const rest = Object.keys(methods).slice(done.length - 1).map((name) => [name, ...columns.map(() => '')])
    return { id, title, note: `${note}. ${time}`, columns: ['method', ...columns.map((c) => c.title)], rows: [...done, ...rest, ['reference figures', ...targets]] }
  }
  log(`${title}: float32 ${rows[0][1]}`)
  for (const [name, method] of Object.entries(methods)) {
    const cells: string[] = []
    for (const { title: column, scheme } of columns) {
      if (!selection.row(name) || !selection.column(column)) {
        cells.push('')
        continue
      }
      const opened = await openOnnx(model.path)
      const { host, savedSeconds } = cache.wrap(opened)
      const start = cpuSeconds()
      await quantize(host, { ...method(scheme, format), format: 'dequantize', calibration, exclude })
      const seconds = cpuSeconds() - start + savedSeconds()
      cells.push(`${show(await model.evaluate(runFloat, (batch) => opened.run(batch)))} · ${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`)
      log(`${title}: ${name}, ${column}: ${cells.at(-1)}`)
      await opened.dispose()
    }
    rows.push([name, ...cells])
    if (cells.some((c) => c !== '')) keep([tableOf(rows)])
  }
  await float.dispose()
  return tableOf(rows)
}

/** The float model's answers: every method is compared with the same ones. */
function remembered(run: Run): Run {
  const answers = new Map<string, ReturnType<Run>>()
  return (batch) => {
    const hash = createHash('sha1')
    for (const { data } of Object.values(batch)) hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    const key = hash.digest('hex')
    const answer = answers.get(key) ?? run(batch)
    answers.set(key, answer)
    return answer
  }
}
