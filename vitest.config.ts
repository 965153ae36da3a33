import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const root = fileURLToPath(new URL('.', import.meta.url))
const paths: Record<string, string[]> = JSON.parse(readFileSync(`${root}tsconfig.base.json`, 'utf8')).compilerOptions.paths

/** Tests run on sources: the same table of entry points that TypeScript uses. */
const alias = Object.entries(paths).map(([name, [file]]) => ({ find: new RegExp(`^${name}$`), replacement: `${root}${file}` }))

/** Tests that are not plain unit tests have their own project, chosen by file name. */
const special = { goldens: '**/*.goldens.test.ts', packed: '**/*.packed.test.ts', browser: '**/*.browser.test.ts', shared: '**/*.shared.test.ts' }

export default defineConfig({
  resolve: { alias },
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'unit', setupFiles: [`${root}tools/test/one-seed.ts`], include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts', 'apps/*/test/**/*.test.ts', 'tools/test/**/*.test.ts'], exclude: ['**/node_modules/**', ...Object.values(special)] } },
      { extends: true, test: { name: 'goldens', include: [special.goldens], exclude: ['**/node_modules/**'] } },
      { extends: true, test: { name: 'shared', include: [special.shared], exclude: ['**/node_modules/**'] } },
      { extends: true, test: { name: 'packed', include: [special.packed], exclude: ['**/node_modules/**'], testTimeout: 600_000, hookTimeout: 600_000 } },
    ],
  },
})
