import { library } from '../../tools/tsup.ts'

export default library({
  entry: { index: 'src/index.ts', node: 'src/node.ts', 'no-node': 'src/no-node.ts', data: 'src/data/index.ts', gguf: 'src/gguf/index.ts', checkpoints: 'src/checkpoints/index.ts', huggingface: 'src/huggingface/index.ts', layouts: 'src/layouts/index.ts', doctor: 'src/doctor/index.ts' },
})
