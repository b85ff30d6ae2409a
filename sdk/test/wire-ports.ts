/** Ports of the wire server's sandboxes. */

import { type PortRecord, portLinkRequest, portRequest, type RunRecord } from '@portico/shared/api'
import { parse, type SeenRequest } from './wire-request.ts'

export class WirePorts {
  /** What listens, by its port. */
  readonly listening = new Map<number, { readonly address: string; readonly pid: number; readonly command: string }>()
  readonly #settings = new Map<string, Pick<PortRecord, 'access' | 'host'>>()

  answer({ id, url_template }: RunRecord, seen: SeenRequest, sub?: string, last?: string): [number, unknown] {
    if (sub === undefined) {
      const set = [...this.#settings.keys()]
        .filter((key) => key.startsWith(`${id}/`))
        .map((key) => Number(key.split('/')[1]))
      const ports = [...new Set([...this.listening.keys(), ...set])].sort((one, other) => one - other)
      return [200, { ports: ports.map((port) => this.#record(id, url_template, port)) }]
    }
    const port = Number(sub)
    if (last === 'links') {
      const { expires_in, path = '/' } = parse(portLinkRequest, seen)
      const expires_at = new Date(Date.UTC(2026, 0, 1) + expires_in * 1000).toISOString()
      return [201, { url: `http://${port}-${id}.app.test${path}?portico_signature=x`, expires_at }]
    }
    if (seen.method === 'PUT') {
      const { access = 'url', host = 'public' } = parse(portRequest, seen)
      this.#settings.set(`${id}/${port}`, { access, host })
    }
    return [200, this.#record(id, url_template, port)]
  }

  #record(id: string, template: string | undefined, port: number): PortRecord {
    const found = this.listening.get(port)
    return {
      port,
      ...(this.#settings.get(`${id}/${port}`) ?? { access: 'url', host: 'public' }),
      ...(template === undefined ? {} : { url: template.replace('{port}', String(port)) }),
      proxy_url: `http://api.test/v1/runs/${id}/proxy/${port}/`,
      listening: found !== undefined,
      ...found,
    }
  }
}
