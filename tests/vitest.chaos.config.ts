import { vmProject } from './vm-project.ts'

export default vmProject('chaos')
