/** `GET /v1/images` */

import { z } from 'zod'

/** The names that a connected runner of the key's region can boot, in alphabetical order. */
export const imageList = z.object({ images: z.array(z.string()) })
export type ImageList = z.infer<typeof imageList>
