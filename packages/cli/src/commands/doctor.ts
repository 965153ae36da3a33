import { stat } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'
import type { Command } from 'commander'
import { LowbitError } from '@lowbit/core'
import { examineFolder, examineGguf, type Finding } from '@lowbit/formats/doctor'
import { fileError, lockOutput, openGgufFile, openHuggingFaceFolder } from '@lowbit/formats/node'
import { DOCTOR_TARGETS, examineOnnx, repairOnnx, type DoctorTarget } from '@lowbit/onnx'
import { shorten } from '@lowbit/report'
import { syntheticBatches } from '@lowbit/formats/data'
import { CLOBBER_FLAG, QUIET_FLAGS, type OutputValues } from '../flags/common.js'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { compareFiles } from '../output/compare-files.js'
import { SaidAlready } from '../output/failure.js'
import { checkNotThere, checkOutputs, refuseStream } from '../output/files.js'
import { processTerminal, type Terminal } from '../output/terminal.js'

interface DoctorValues extends Omit<OutputValues, 'report'> {
  readonly target?: readonly DoctorTarget[]
  readonly fix?: boolean
  readonly output?: string
  readonly all?: boolean
}

const FLAGS: FlagsOf<DoctorValues> = {
  target: { flags: '-t, --target <runtime>', repeat: true, option: { type: 'choice', values: DOCTOR_TARGETS, otherwise: 'onnxruntime, onnxruntime-web and webgpu', about: 'where an ONNX model is going to run' } },
  fix: { flags: '--fix', option: { type: 'boolean', about: 'write an ONNX model with what can be repaired without changing a value' } },
  output: { flags: '-o, --output <file>', option: { type: 'text', when: { fix: 'given' }, about: 'the repaired model', otherwise: 'model.fixed.onnx beside the model' } },
  all: { flags: '--all', option: { type: 'boolean', about: 'name every node and tensor' } },
  ...CLOBBER_FLAG,
  ...QUIET_FLAGS,
}

/** `lowbit doctor` */
export function doctorCommand(program: Command): void {
  const command = program.command('doctor').description('what is wrong with a model file, what it costs, and what cures it').argument('<model>', 'an .onnx or .gguf file, or a model folder of Hugging Face')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nExit code 1 if something is an error.\n\nExamples:\n  $ lowbit doctor model.onnx\n  $ lowbit doctor model.onnx --target tensorrt --target webnn\n  $ lowbit doctor model.onnx --fix -o better.onnx\n  $ lowbit doctor model.gguf\n  $ lowbit doctor SmolLM2-135M/')
    .action(async (model: string) => {
      const flags = readFlags<DoctorValues>(command, FLAGS)
      const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
      const findings = await examine(model, flags, terminal.signal)
      const repaired = flags.fix === true ? await repair(model, flags, terminal) : undefined
      terminal.stop()
      terminal.print(flags.json === true ? JSON.stringify({ findings, ...(repaired === undefined ? {} : { repaired }) }, null, 2) : describe(model, findings, flags.all === true, repaired))
      if (findings.some((f) => f.severity === 'error')) throw new SaidAlready('errors were found')
    })
}

async function examine(model: string, { target }: DoctorValues, signal: AbortSignal): Promise<readonly Finding[]> {
  const found = await stat(model).catch((cause: unknown) => {
    throw fileError(model, cause, 'could not be read')
  })
  if (found.isDirectory()) {
    onlyOnnx(target, '--target')
    await using folder = await openHuggingFaceFolder(model)
    return await examineFolder(folder, signal)
  }
  if (extname(model).toLowerCase() !== '.gguf') return examineOnnx(model, { ...(target === undefined ? {} : { targets: target }), signal })
  onlyOnnx(target, '--target')
  await using file = await openGgufFile(model)
  return await examineGguf(file, signal)
}

function onlyOnnx(value: unknown, flag: string): void {
  if (value !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: flag, found: 'a model that is no ONNX file', fix: `leave ${flag} out` })
}

interface Repaired {
  readonly output: string
  readonly done: readonly string[]
}

/** The repaired model counts once it gave the very numbers of the old one. */
async function repair(model: string, flags: DoctorValues, terminal: Terminal): Promise<Repaired> {
  if (extname(model).toLowerCase() === '.gguf' || (await stat(model)).isDirectory()) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: '--fix', found: 'a model that is no ONNX file', expected: 'an .onnx file', fix: 'quantize it again with what the findings name' })
  refuseStream('--output', flags.output)
  const output = flags.output ?? join(dirname(model), `${basename(model, extname(model))}.fixed.onnx`)
  const rules = { noClobber: flags.clobber === false }
  await checkOutputs([{ what: '--output', path: output }], [{ what: 'the model', path: model }], rules)
  const { artifact, done, close } = await repairOnnx(model)
  try {
    if (done.length === 0) return { output: '', done }
    const lock = await lockOutput(output)
    try {
      await checkNotThere(output, rules)
      await artifact.save(output)
      await checkEqual(model, output, terminal)
    } finally {
      await lock.release()
    }
    return { output, done }
  } finally {
    await close()
  }
}

async function checkEqual(model: string, output: string, terminal: Terminal): Promise<void> {
  const { outputs } = await compareFiles(model, output, (inputs) => syntheticBatches(inputs, 2), terminal, { latency: false, saturation: false })
  const changed = outputs.find((o) => o.maxError !== 0)
  if (changed !== undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `the repaired model ${output}`, found: `its output '${changed.name}' differs by ${changed.maxError}`, expected: 'the same numbers', fix: 'do not use it, and report this' })
}

const SIGNS: Readonly<Record<Finding['severity'], string>> = { error: '✗', warning: '!', hint: '·' }

function describe(model: string, findings: readonly Finding[], all: boolean, repaired: Repaired | undefined): string {
  const count = (severity: Finding['severity']): number => findings.filter((f) => f.severity === severity).length
  const lines = [findings.length === 0 ? `${model}: nothing to say against it` : `${model}: ${count('error')} errors, ${count('warning')} warnings, ${count('hint')} hints`]
  for (const { rule, severity, found, cure, where } of findings) {
    const shown = all ? where : where.slice(0, 3)
    lines.push('', `${SIGNS[severity]} ${rule}: ${found}`, ...(shown.length === 0 ? [] : [`    ${shown.map((name) => (all ? name : shorten(name, 48))).join(', ')}${shown.length < where.length ? `, … ${where.length - shown.length} more (--all)` : ''}`]), `    → ${cure}`)
  }
  if (repaired !== undefined) lines.push('', ...(repaired.done.length === 0 ? ['There is nothing that --fix can repair.'] : [`${repaired.output}, which computes the same numbers:`, ...repaired.done.map((line) => `    ${line}`)]))
  return lines.join('\n')
}
