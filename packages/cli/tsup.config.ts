import { library } from '../../tools/tsup.ts'

export default library({ entry: { bin: 'src/bin.ts', main: 'src/main.ts', worker: 'src/jobs/worker.ts' }, platform: 'node', dts: false })
