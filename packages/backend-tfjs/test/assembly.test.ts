import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

it('the compiled kernels are those of the source', { timeout: 180_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'))
  const out = join(folder, 'compiled.ts')
  const run = spawnSync(process.execPath, [fileURLToPath(new URL('../assembly/build.mjs', import.meta.url)), out], { encoding: 'utf8' })
  expect(run.stderr).toBe('')
  const [made, kept] = [readFileSync(out, 'utf8'), readFileSync(new URL('../src/gradients/compiled.ts', import.meta.url), 'utf8')]
  rmSync(folder, { recursive: true })
  expect(made === kept, 'run `npm run assembly -w packages/backend-tfjs`').toBe(true)
})
