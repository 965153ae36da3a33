import { library } from '../../tools/tsup.ts'

export default library({ entry: ['src/bin.ts', 'src/main.ts'], platform: 'node', dts: false })
