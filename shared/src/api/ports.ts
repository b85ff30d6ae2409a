/** `/v1/runs/{id}/ports`: servers inside a sandbox, and who may reach them by their public URL. */

import { z } from 'zod'

/** `url`: whoever knows the URL. `key`: with an API key of the sandbox's account. `signed`: with a signed link. */
export const portAccess = z.enum(['url', 'key', 'signed'])
export type PortAccess = z.infer<typeof portAccess>

/** What the server gets as `Host`: `public` is the name in the URL, `localhost` is `localhost:PORT`. */
export const portHost = z.enum(['public', 'localhost'])
export type PortHost = z.infer<typeof portHost>

/** `PUT /v1/runs/{id}/ports/{port}` */
export const portRequest = z.object({ access: portAccess.optional(), host: portHost.optional() })
export type PortRequest = z.infer<typeof portRequest>

export const portRecord = z.object({
  port: z.int(),
  access: portAccess,
  host: portHost,
  /** The public URL; absent where the platform serves none. */
  url: z.string().optional(),
  /** The same server behind an API key. */
  proxy_url: z.string(),
  /** Whether something listens on it; absent where that was not looked at. */
  listening: z.boolean().optional(),
  /** Where it listens, such as `127.0.0.1`, and who does. */
  address: z.string().optional(),
  pid: z.int().optional(),
  command: z.string().optional(),
})
export type PortRecord = z.infer<typeof portRecord>

/** `GET /v1/runs/{id}/ports`: what listens, and what was set. */
export const portList = z.object({ ports: z.array(portRecord) })
export type PortList = z.infer<typeof portList>

/** `POST /v1/runs/{id}/ports/{port}/links`: `expires_in` in seconds. */
export const portLinkRequest = z.object({
  expires_in: z.int().min(1).max(2_592_000).default(3600),
  path: z.string().startsWith('/').optional(),
})
export const portLink = z.object({ url: z.string(), expires_at: z.string() })
export type PortLink = z.infer<typeof portLink>
