import type { Message } from './wire/messages.js'
import { schemaOf } from './wire/schema.js'

export { create } from './wire/create.js'
export type { Init, Message, MessageName, UnknownField } from './wire/messages.js'
export type { Schema } from './wire/schema.js'
export { AttributeType, DataLocation, DataType } from './enums.js'

export type AttributeProto = Message<'AttributeProto'>
export type FunctionProto = Message<'FunctionProto'>
export type GraphProto = Message<'GraphProto'>
export type ModelProto = Message<'ModelProto'>
export type NodeProto = Message<'NodeProto'>
export type OperatorSetIdProto = Message<'OperatorSetIdProto'>
export type SparseTensorProto = Message<'SparseTensorProto'>
export type StringStringEntryProto = Message<'StringStringEntryProto'>
export type TensorProto = Message<'TensorProto'>
export type TensorShapeProto = Message<'TensorShapeProto'>
export type TypeProto = Message<'TypeProto'>
export type ValueInfoProto = Message<'ValueInfoProto'>

export const AttributeProtoSchema = /* @__PURE__ */ schemaOf('AttributeProto')
export const FunctionProtoSchema = /* @__PURE__ */ schemaOf('FunctionProto')
export const GraphProtoSchema = /* @__PURE__ */ schemaOf('GraphProto')
export const ModelProtoSchema = /* @__PURE__ */ schemaOf('ModelProto')
export const NodeProtoSchema = /* @__PURE__ */ schemaOf('NodeProto')
export const OperatorSetIdProtoSchema = /* @__PURE__ */ schemaOf('OperatorSetIdProto')
export const SparseTensorProtoSchema = /* @__PURE__ */ schemaOf('SparseTensorProto')
export const StringStringEntryProtoSchema = /* @__PURE__ */ schemaOf('StringStringEntryProto')
export const TensorProtoSchema = /* @__PURE__ */ schemaOf('TensorProto')
export const ValueInfoProtoSchema = /* @__PURE__ */ schemaOf('ValueInfoProto')
