import { Command } from 'commander'
import { VERSION } from './version.js'
import { compareCommand } from './commands/compare.js'
import { demoCommand } from './commands/demo.js'
import { doctorCommand } from './commands/doctor.js'
import { float16Command } from './commands/float16.js'
import { inspectCommand } from './commands/inspect.js'
import { lmCommands } from './commands/lm.js'
import { quantizeCommand } from './commands/quantize.js'
import { publishCommand } from './commands/publish.js'
import { repackCommand } from './commands/repack.js'
import { runCommand } from './commands/run.js'
import { sensitivityCommand } from './commands/sensitivity.js'
import { tuneCommand } from './commands/tune.js'

/** The command line, ready to parse. It throws instead of leaving the process. @param silent - leaves telling what is wrong to the caller */
export function createProgram({ silent = false }: { readonly silent?: boolean } = {}): Command {
  const program = new Command('lowbit')
    .configureOutput(silent ? { writeErr: () => {} } : {})
    .description('Make neural networks small and fast: quantize ONNX models, no Python needed.')
    .version(VERSION)
    .showHelpAfterError('(add --help for the options and examples)')
    .exitOverride()
    .addHelpText('after', '\nExamples:\n  $ lowbit inspect model.onnx\n  $ lowbit quantize model.onnx\n  $ lowbit compare model.onnx model.int8.onnx --data samples.npz\n\nExit codes: 0 done, 1 failed, 2 wrong arguments, 130 / 143 / 129 stopped by Ctrl-C, SIGTERM, SIGHUP.')
  for (const add of [inspectCommand, quantizeCommand, compareCommand, runCommand, float16Command, doctorCommand, repackCommand, publishCommand, sensitivityCommand, tuneCommand, demoCommand, lmCommands]) add(program)
  for (const command of program.commands) command.exitOverride()
  return program
}
