import type { FlagsOf } from './flag.js'

/** How a command speaks. */
export interface OutputValues {
  readonly clobber?: boolean
  readonly report?: string
  readonly json?: boolean
  readonly quiet?: boolean
}

export const CLOBBER_FLAG: FlagsOf<Pick<OutputValues, 'clobber'>> = { clobber: { flags: '--no-clobber', option: { type: 'boolean', about: 'refuse to replace files that are already there' } } }

export const QUIET_FLAGS: FlagsOf<Pick<OutputValues, 'json' | 'quiet'>> = {
  json: { flags: '--json', option: { type: 'boolean', about: 'print JSON' } },
  quiet: { flags: '-q, --quiet', option: { type: 'boolean', about: 'no progress bar and no notes' } },
}

export const OUTPUT_FLAGS: FlagsOf<OutputValues> = {
  ...CLOBBER_FLAG,
  report: { flags: '--report <file>', option: { type: 'text', pattern: '\\.([jJ][sS][oO][nN]|[hH][tT][mM][lL])$|^-$', named: 'a file whose name ends in .json or .html', about: 'write the report: .json, or .html to look at' } },
  ...QUIET_FLAGS,
}

/** What cannot change the artifact, only how it comes about. */
export interface RunValues {
  readonly calibrationCache?: string
  readonly threads?: number
  readonly allowPlugins?: boolean
  readonly force?: boolean
}

export const RUN_FLAGS: FlagsOf<RunValues> = {
  calibrationCache: { flags: '--calibration-cache <file>', option: { type: 'text', about: 'keep what calibration finds in this file; later runs on the same model, data and weights make no pass over the data' } },
  threads: { flags: '--threads <n>', option: { type: 'integer', minimum: 1, maximum: 1024, otherwise: 'as many as processors, 8 at most', about: 'worker threads for calibrated rounding' } },
  allowPlugins: { flags: '--allow-plugins', option: { type: 'boolean', about: 'let the recipe name packages of your own package.json: their code runs' } },
  force: { flags: '--force', option: { type: 'boolean', about: 'write the model even if the calibration data shows it to be ruined (below 10 dB)' } },
}
