import { ENUM_VALUES, FIELDS } from './fields.js'
import type { MessageName } from './messages.js'

export const VARINT = 0
export const BITS64 = 1
export const BYTES = 2
export const START_GROUP = 3
export const END_GROUP = 4
export const BITS32 = 5

/** Kinds of values on the wire. `enum` is a varint below a number of values. */
export type ScalarKind = 'string' | 'bytes' | 'int32' | 'int64' | 'uint64' | 'float' | 'double' | 'enum'

/** A field of a message, ready for the loops that read and write it. */
export interface Field {
  readonly name: string
  readonly number: number
  readonly kind: ScalarKind | 'message'
  readonly wire: number
  readonly list: boolean
  readonly packed: boolean
  /** Values of an enumeration. */
  readonly values: number
  readonly child: Schema | undefined
  /** The property that holds whichever field of a choice is set. */
  readonly choice: string | undefined
}

/** A message's fields by number. */
export interface Schema<N extends MessageName = MessageName> {
  readonly name: N
  /** In the order of their numbers, which is the order they are written in. */
  readonly fields: readonly Field[]
  readonly byNumber: ReadonlyMap<number, Field>
  /** Defaults of scalars, for the prototype of messages. */
  readonly defaults: object
}

const WIRES: Readonly<Record<Field['kind'], number>> = { string: BYTES, bytes: BYTES, message: BYTES, int32: VARINT, int64: VARINT, uint64: VARINT, enum: VARINT, float: BITS32, double: BITS64 }
const DEFAULTS: Readonly<Record<Field['kind'], unknown>> = { string: '', bytes: new Uint8Array(0), int32: 0, int64: 0n, uint64: 0n, enum: 0, float: 0, double: 0, message: undefined }

const isScalar = (kind: string): kind is ScalarKind => Object.hasOwn(WIRES, kind)
const isMessage = (kind: string): kind is MessageName => Object.hasOwn(FIELDS, kind)
const isEnum = (kind: string): kind is keyof typeof ENUM_VALUES => Object.hasOwn(ENUM_VALUES, kind)

const schemas = new Map<MessageName, Schema>()

/** The schema of a message by its name. Messages hold each other, so a schema is known before its fields are. */
export function schemaOf<N extends MessageName>(name: N): Schema<N>
export function schemaOf(name: MessageName): Schema {
  const known = schemas.get(name)
  if (known !== undefined) return known
  const fields: Field[] = []
  const byNumber = new Map<number, Field>()
  const defaults: Record<string, unknown> = {}
  const schema = { name, fields, byNumber, defaults }
  schemas.set(name, schema)
  const entries: [string, readonly [number, string, string?]][] = Object.entries(FIELDS[name])
  for (const [key, [number, text, choice]] of entries) {
    const packed = text.startsWith('packed ')
    const list = packed || text.endsWith('[]')
    const element = text.replace(/^packed |\[\]$/g, '')
    const kind = isScalar(element) ? element : isEnum(element) ? 'enum' : 'message'
    const field: Field = { name: key, number, kind, wire: WIRES[kind], list, packed, values: isEnum(element) ? ENUM_VALUES[element] : 0, child: isMessage(element) ? schemaOf(element) : undefined, choice }
    fields.push(field)
    byNumber.set(number, field)
    if (!list && choice === undefined && kind !== 'message') defaults[key] = DEFAULTS[kind]
  }
  return schema
}
