export { centroidGradients, initialCentroids, shareWeights, type SharedWeights, type WeightSharingOptions } from './weight-sharing.js'
export { codedBits, huffmanLengths } from './huffman.js'
export { vectorQuantize, vectorValues, type VectorQuantized, type VectorQuantizeOptions } from './vector-quantization.js'
