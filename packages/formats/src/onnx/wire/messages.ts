import type { AttributeType, DataLocation } from '../enums.js'
import type { FIELDS } from './fields.js'

type Tables = typeof FIELDS

/** Names of the messages of onnx.proto. */
export type MessageName = keyof Tables

/** A field that the schema does not know, as it stands in the file after its tag. */
export interface UnknownField {
  readonly no: number
  readonly wireType: number
  readonly data: Uint8Array<ArrayBuffer>
}

interface Scalars {
  string: string
  bytes: Uint8Array<ArrayBuffer>
  int32: number
  int64: bigint
  uint64: bigint
  float: number
  double: number
  AttributeType: AttributeType
  DataLocation: DataLocation
}

type Kind<F> = F extends readonly [number, infer K extends string, ...unknown[]] ? K : never
type Choice<F> = F extends readonly [number, string, infer C extends string] ? C : never
type Single<K extends string> = K extends keyof Scalars ? Scalars[K] : K extends MessageName ? Message<K> : never
type Value<K extends string> = K extends `${infer E}[]` ? Single<E>[] : K extends `packed ${infer E}` ? Single<E>[] : Single<K>

/** Keys of fields that are always there: lists, and scalars, which have a default on the prototype. */
type Present<T> = { [P in keyof T]: Choice<T[P]> extends never ? (Kind<T[P]> extends MessageName ? never : P) : never }[keyof T]
type Optional<T> = { [P in keyof T]: Choice<T[P]> extends never ? (Kind<T[P]> extends MessageName ? P : never) : never }[keyof T]
type Choices<T> = { [P in keyof T]: Choice<T[P]> }[keyof T]
type Case<T, C> = { [P in keyof T]: Choice<T[P]> extends C ? (C extends Choice<T[P]> ? { case: P; value: Value<Kind<T[P]>> } : never) : never }[keyof T]

/**
 * A message: a plain object. Lists are always there, messages where they are set, scalars that are not set have their default
 * from the prototype, and of a choice one case or none is set.
 */
export type Message<N extends MessageName> = { $typeName: `onnx.${N}`; $unknown?: UnknownField[] } & { [P in Present<Tables[N]>]: Value<Kind<Tables[N][P]>> } & {
  [P in Optional<Tables[N]>]?: Value<Kind<Tables[N][P]>>
} & { [C in Choices<Tables[N]>]: Case<Tables[N], C> | { case: undefined; value?: undefined } }

/** Any message, where only its name matters. */
export interface AnyMessage {
  $typeName: string
  $unknown?: UnknownField[]
}

type Deep<V> = V extends { $typeName: `onnx.${infer N extends MessageName}` } ? Init<N> | V : V extends (infer E)[] ? Deep<E>[] : V
type DeepCase<V> = V extends { case: infer P; value: infer I } ? { case: P; value: Deep<I> } : never

/** What a message is made from: any of its fields, messages inside as messages or as their fields. */
export type Init<N extends MessageName> = {
  [P in Exclude<keyof Message<N>, '$typeName' | '$unknown'>]?: P extends Choices<Tables[N]> ? DeepCase<Message<N>[P]> : Deep<Exclude<Message<N>[P], undefined>>
}
