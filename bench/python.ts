import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { tensor } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'
import { sharedData } from './models/shared.ts'

/** One process, from start to end. */
interface Run {
  readonly seconds: number
  readonly peakMegabytes: number
}

interface Task {
  readonly name: string
  readonly lowbit: readonly string[]
  /** Python statements after the imports. */
  readonly python: string
}

const BIN = fileURLToPath(new URL('../packages/cli/dist/bin.js', import.meta.url))
const RESULTS = new URL('./results/', import.meta.url)
const RUNS = Number(process.env.RUNS ?? 5)

/**
 * Whole processes beside ONNX Runtime's Python tools, in turns: `npm run bench -- python [path of a python with onnxruntime and onnx]`.
 * Needs GNU time at /usr/bin/time for the peak memory and a build (`npm run build`).
 */
export async function benchPython([python = 'python3']: readonly string[]): Promise<void> {
  if (!existsSync('/usr/bin/time')) throw new Error('GNU time is not at /usr/bin/time: install the package `time`')
  const versions = spawnSync(python, ['-c', 'import onnx, onnxruntime; print(onnxruntime.__version__, onnx.__version__)'], { encoding: 'utf8' })
  if (versions.status !== 0) throw new Error(`${python} has no onnxruntime and onnx: \`python3 -m venv env && env/bin/pip install onnxruntime onnx\`, then name env/bin/python`)
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-bench-'))
  try {
    const tasks = makeTasks(folder)
    const rows = tasks.map((task) => measure(task, python, folder))
    const table = ['| task | lowbit | Python | time, ratio | peak memory | Python’s |', '| --- | ---: | ---: | ---: | ---: | ---: |', ...rows.map((r) => r.line)].join('\n')
    const head = `${cpus()[0].model}, Node ${process.versions.node}, onnxruntime and onnx ${versions.stdout.trim()}; medians of ${RUNS} runs in turns, whole processes`
    mkdirSync(RESULTS, { recursive: true })
    writeFileSync(new URL('python.json', RESULTS), `${JSON.stringify({ head, tasks: rows.map(({ name, ours, theirs }) => ({ name, ours, theirs })) }, null, 2)}\n`)
    writeFileSync(new URL('python.md', RESULTS), `# Beside ONNX Runtime’s Python tools\n\n${head}. \`npm run bench -- python <python>\`.\n\n${table}\n`)
    console.log(`${head}\n\n${table}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function makeTasks(folder: string): readonly Task[] {
  const large = join(folder, 'large.onnx')
  writeFileSync(large, largeModel())
  const tasks: Task[] = [
    {
      name: 'round a 90 MB MatMul model to int4, groups of 32',
      lowbit: ['quantize', large, '-w', 'int4', '-g', '32', '-o', join(folder, 'a.onnx'), '-q'],
      python: `from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
m = onnx.load(${JSON.stringify(large)})
q = MatMulNBitsQuantizer(m, block_size=32, is_symmetric=True)
q.process()
q.model.save_model_to_file(${JSON.stringify(join(folder, 'b.onnx'))})`,
    },
  ]
  const squeezenet = sharedData('squeezenet1.1.onnx')
  const images = sharedData('imagenet-sample/calibration')
  if (squeezenet !== undefined && images !== undefined) {
    tasks.push({
      name: 'static int8 of squeezenet with 100 images',
      lowbit: ['quantize', squeezenet, '-c', images, '-o', join(folder, 'c.onnx'), '-q'],
      python: `import os, numpy as np
from PIL import Image
from onnxruntime.quantization import quantize_static, CalibrationDataReader, QuantFormat, QuantType
class Reader(CalibrationDataReader):
    def __init__(self):
        self.files = iter(sorted(os.listdir(${JSON.stringify(images)})))
    def get_next(self):
        f = next(self.files, None)
        if f is None: return None
        x = np.asarray(Image.open(os.path.join(${JSON.stringify(images)}, f)).convert('RGB').crop((8, 8, 232, 232)), np.float32) / 255
        x = (x - np.array([0.485, 0.456, 0.406], np.float32)) / np.array([0.229, 0.224, 0.225], np.float32)
        return {'data': x.transpose(2, 0, 1)[None]}
quantize_static(${JSON.stringify(squeezenet)}, ${JSON.stringify(join(folder, 'd.onnx'))}, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8, reduce_range=True)`,
    })
  }
  return tasks
}

/** Six square layers of 1,936: 22.5 million weights, 90 MB. */
function largeModel(): Uint8Array {
  const n = 1936
  const names = Array.from({ length: 6 }, (_, i) => `w${i}`)
  let state = 1
  const weights = names.map((name) => {
    const data = Float32Array.from({ length: n * n }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return (state / 2 ** 32 - 0.5) * 0.1
    })
    return hostToTensor(name, tensor('float32', [n, n], data))
  })
  const main = graph({
    nodes: names.map((name, i) => node('MatMul', [i === 0 ? 'x' : `h${i - 1}`, name], [i === 5 ? 'y' : `h${i}`], {}, '', `layer${i}`)),
    inputs: [valueInfo('x', 'float32', ['n', n])],
    outputs: [valueInfo('y', 'float32', ['n', n])],
    initializers: weights,
  })
  return writeOnnx(model(main, { '': 17 }, 8))
}

function measure(task: Task, python: string, folder: string): { readonly name: string; readonly ours: Run; readonly theirs: Run; readonly line: string } {
  const script = join(folder, 'task.py')
  writeFileSync(script, `import onnx\n${task.python}\n`)
  const ours: Run[] = []
  const theirs: Run[] = []
  for (let i = 0; i < RUNS; i++) {
    ours.push(timed(process.execPath, [BIN, ...task.lowbit], folder))
    theirs.push(timed(python, [script], folder))
  }
  const a = median(ours)
  const b = median(theirs)
  const line = `| ${task.name} | ${a.seconds.toFixed(2)} s | ${b.seconds.toFixed(2)} s | ${(a.seconds / b.seconds).toFixed(2)} | ${a.peakMegabytes.toFixed(0)} MB | ${b.peakMegabytes.toFixed(0)} MB |`
  console.log(line)
  return { name: task.name, ours: a, theirs: b, line }
}

function timed(command: string, args: readonly string[], folder: string): Run {
  const file = join(folder, 'time.txt')
  const run = spawnSync('/usr/bin/time', ['-f', '%e %M', '-o', file, command, ...args], { encoding: 'utf8' })
  if (run.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${run.stderr}`)
  const [seconds, kilobytes] = readFileSync(file, 'utf8').trim().split('\n').at(-1)?.split(' ').map(Number) ?? []
  return { seconds, peakMegabytes: (kilobytes * 1024) / 1e6 }
}

function median(runs: readonly Run[]): Run {
  const middle = (values: readonly number[]): number => [...values].sort((x, y) => x - y)[values.length >> 1]
  return { seconds: middle(runs.map((r) => r.seconds)), peakMegabytes: middle(runs.map((r) => r.peakMegabytes)) }
}
