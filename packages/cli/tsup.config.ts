import { library } from '../../tools/tsup.ts'

export default library({ entry: { bin: 'src/bin.ts', main: 'src/main.ts', worker: 'src/jobs/worker.ts', recipes: 'src/recipes/index.ts' }, platform: 'node', dts: { entry: { recipes: 'src/recipes/index.ts' }, compilerOptions: { paths: {}, baseUrl: '.' } } })
