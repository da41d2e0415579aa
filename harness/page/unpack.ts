/** JSON that was packed with gzip and written as Base64. */
export const unpackJson = async <T>(base64: string): Promise<T> => {
  const packed = Uint8Array.from(atob(base64), character =>
    character.charCodeAt(0),
  )
  const stream = new Blob([packed])
    .stream()
    .pipeThrough(new DecompressionStream('gzip'))
  return (await new Response(stream).json()) as T
}
