import { type Server, type Socket, createServer } from 'node:net'
import { InfraError } from '../../base/errors.ts'

/** sun_path of struct sockaddr_un, with its NUL (unix(7)). */
const MAX_SOCKET_PATH = 107

/**
 * Waits for one connection on a unix socket. We listen and QEMU connects, so
 * there is nothing to poll for: once QEMU runs, it is connected.
 */
export class Incoming implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets: Socket[] = []
  readonly connection: Promise<Socket>

  private constructor(server: Server) {
    this.#server = server
    this.connection = new Promise((resolve, reject) => {
      server.once('connection', resolve)
      server.once('error', reject)
    })
    server.on('connection', (socket: Socket) => this.#sockets.push(socket))
    // Whoever awaits it handles the error; nobody may.
    this.connection.catch(() => undefined)
  }

  static async listen(path: string): Promise<Incoming> {
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
      throw new InfraError(
        'SOCKET_PATH',
        `the socket path ${path} is longer than ${MAX_SOCKET_PATH} bytes: set TMPDIR to a shorter folder`,
      )
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, resolve)
    })
    return new Incoming(server)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A socket that nobody reads would keep the server open for ever.
    for (const socket of this.#sockets) socket.destroy()
    await new Promise(resolve => this.#server.close(resolve))
  }
}
