import { fileURLToPath } from 'node:url'
import { defineConfig } from 'tsup'
import { libraryOptions } from '../../tools/tsup.ts'

const MODULES = { index: 'src/index.ts', worker: 'src/worker.ts' }

export default defineConfig([
  // The types of all three are made here: those of the worker file say that it gives nothing.
  libraryOptions({ entry: MODULES, dts: { entry: { ...MODULES, 'quantize-worker': 'src/quantize-worker.ts' }, compilerOptions: { paths: {}, baseUrl: '.' } } }),
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
