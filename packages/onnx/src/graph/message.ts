/**
 * A shallow copy of a protobuf message. Fields that are not set live on the prototype (with their defaults), which object
 * spread would lose.
 */
export function copyMessage<T extends object>(message: T): T {
  const copy: T = Object.assign(Object.create(Object.getPrototypeOf(message)), message)
  return copy
}
