import { fileURLToPath } from 'node:url'
import { defineConfig } from 'tsup'
import { libraryOptions } from '../../tools/tsup.ts'

export default defineConfig([
  libraryOptions({ entry: { index: 'src/index.ts', worker: 'src/worker.ts' } }),
  // One file: workers know no import map, so it must not ask for anything by a bare name. Not minified: bundlers read its comments.
  libraryOptions({
    entry: { 'quantize-worker': 'src/quantize-worker.ts' },
    noExternal: [/^@lowbit\//, 'fflate'],
    splitting: false,
    clean: false,
    dts: false,
    esbuildOptions: (options) => {
      options.alias = { '@lowbit/formats/node': fileURLToPath(new URL('../formats/src/no-node.ts', import.meta.url)) }
    },
  }),
])
