import { library } from '../../tools/tsup.ts'

export default library({ entry: { index: 'src/index.ts', train: 'src/train/index.ts' } })
