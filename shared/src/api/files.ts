/** `/v1/runs/{id}/files…` */

import { z } from 'zod'

/** `GET /v1/runs/{id}/files?path=`: names alone, as documented; `details` says more about each, in the same order. */
export const fileList = z.object({
  path: z.string(),
  entries: z.array(z.string()),
  details: z.array(
    z.object({
      name: z.string(),
      type: z.enum(['file', 'directory', 'symlink', 'other']),
      size: z.number(),
      mode: z.string(),
      modified_at: z.string(),
    }),
  ),
})
export type FileList = z.infer<typeof fileList>

/** `POST /v1/runs/{id}/files/upload?path=` */
export const uploadResponse = z.object({ path: z.string(), size: z.number() })
export type UploadResponse = z.infer<typeof uploadResponse>
