import { library } from '../../tools/tsup.ts'

export default library({
  entry: ['src/index.ts', 'src/node.ts'],
  // Loading protobuf's hundred small modules takes longer than reading a model: they travel inside, licences at the end of the file.
  noExternal: ['@bufbuild/protobuf', 'onnx-buf'],
  esbuildOptions: (options) => {
    options.legalComments = 'eof'
  },
})
