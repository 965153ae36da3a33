import { existsSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'

/**
 * What a machine is called in figures: the CPU's own name, with family and model where the system tells them, since clouds
 * call several generations the same.
 */
export function machineName(): string {
  const name = cpus()[0]?.model.trim() ?? 'unknown'
  const info = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : ''
  const field = (key: string): string | undefined => new RegExp(`^${key}\\s*: (.+)$`, 'm').exec(info)?.[1]
  const family = field('cpu family')
  const model = field('model')
  return family === undefined || model === undefined ? name : `${name} (family ${family}, model ${model})`
}

/** A machine's name in file names. */
export function slug(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')
}
