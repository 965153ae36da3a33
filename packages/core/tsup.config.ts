import { library } from '../../tools/tsup.ts'

export default library({ entry: { index: 'src/index.ts', 'testkit/index': 'src/testkit/index.ts' } })
