export { fastLinAlg } from './fast.js'
export { referenceLinAlg } from './reference.js'
export { hadamardMatrix, hadamardOrder, hadamardTransform, largestHadamardBlock, rotateRows, type HadamardOrder } from './hadamard.js'
export { channelAbsMax, channelsOfRow, scaleColumns, type ChannelLayout } from './channels.js'
