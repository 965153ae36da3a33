import { library } from '../../tools/tsup.ts'

export default library({ entry: { index: 'src/index.ts', node: 'src/node.ts', thread: 'src/node/thread.ts' } })
