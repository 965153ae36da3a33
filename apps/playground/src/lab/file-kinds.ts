import { IMAGE_EXTENSIONS } from '@lowbit/formats/data'

const ARRAYS = ['.npz', '.npy', '.safetensors']

export function isImage(name: string): boolean {
  return IMAGE_EXTENSIONS.includes(extension(name))
}

export function isArrays(name: string): boolean {
  return ARRAYS.includes(extension(name))
}

export function isText(name: string): boolean {
  return ['.txt', '.md'].includes(extension(name))
}

export function extension(name: string): string {
  return /\.[^.]*$/.exec(name)?.[0].toLowerCase() ?? ''
}
