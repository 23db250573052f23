// Writes a TypeScript program that is only right if the dashboards are what Grafana's schema says: each JSON as a literal of the
// schema's type, and each panel's options, custom fields and queries as those of its kind of panel.
//
//     node schema.mjs FOLDER OUTPUT.ts

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder, output] = process.argv.slice(2);
const KINDS = { timeseries: 'TimeSeries', stat: 'Stat' };

const program = [
  `import type { Dashboard, DataQuery } from '@grafana/schema';`,
  ...Object.entries(KINDS).map(
    ([kind, name]) =>
      `import type * as ${name} from '@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen';`,
  ),
  // What Prometheus' own data source adds is not in the schema.
  'type PrometheusQuery = DataQuery & { expr: string; legendFormat: string; range: boolean };',
  // JSON has the values of an enumeration, and not its names.
  'type Json<T> = T extends string ? `${T}` : T extends readonly (infer U)[] ? Json<U>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;',
];
const check = (type, value) => program.push(`void (${JSON.stringify(value)} satisfies Json<${type}>);`);

for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
  const dashboard = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  program.push(`// ${file}`);
  check('Dashboard', dashboard);
  for (const panel of dashboard.panels.filter((panel) => panel.type !== 'row')) {
    const kind = KINDS[panel.type];
    if (!kind) throw new Error(`${file}: "${panel.title}" is a ${panel.type}: add its types to KINDS`);
    program.push(`// ${file}: ${panel.title}`);
    check(`${kind}.Options`, panel.options);
    if (panel.type === 'timeseries') check(`${kind}.FieldConfig`, panel.fieldConfig.defaults.custom);
    for (const target of panel.targets) check('PrometheusQuery', target);
  }
}
writeFileSync(output, program.join('\n') + '\n');
