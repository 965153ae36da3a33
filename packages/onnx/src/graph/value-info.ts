import type { DType, TensorRef } from '@lowbit/core'
import { onnxTypeFacts, onnxTypeOf, type ValueInfoProto } from '@lowbit/formats'

/** Name, dtype and shape of a graph input or output, as far as the file says them. Symbolic dims are strings. */
export function toTensorRef(info: ValueInfoProto): TensorRef {
  const value = info.type?.value
  if (value?.case !== 'tensorType') return { name: info.name }
  const { elemType, shape } = value.value
  const type = onnxTypeOf(elemType)
  const dtype: DType | undefined = type === undefined ? undefined : onnxTypeFacts(type).host
  return {
    name: info.name,
    ...(dtype === undefined ? {} : { dtype }),
    ...(shape === undefined ? {} : { shape: shape.dim.map(({ value: dim }, i) => (dim.case === 'dimValue' ? Number(dim.value) : dim.case === 'dimParam' && dim.value !== '' ? dim.value : `dim${i}`)) }),
  }
}
