"""How the report's page looks, and the little that it does: inline, so that the page is one file."""

STYLE = (
    """
:root { color-scheme: light dark;
  --ground: #f6f7f9; --paper: #ffffff; --ink: #1b2330; --faint: #5d6878; --line: #dfe3ea;
  --accent: #2f6fde; --bar: #2f6fde2e;
  --boundary: #9a6700; --type: #8250df; --both: #bf3989; --missed: #cf222e; --spurious: #0a7287; --right: #1a7f37;
  --t0: #cfe3ff; --t1: #d3f2d8; --t2: #ffe2c7; --t3: #ecdcff; --t4: #ffd7e5; --t5: #cdf1f4; --t6: #f5ecb0; --t7: #e1e4ea; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #0f141b; --paper: #171d27; --ink: #e4e9f1; --faint: #98a4b5; --line: #2b3442;
  --accent: #78a9ff; --bar: #78a9ff38;
  --boundary: #e3b341; --type: #bc8cff; --both: #f778ba; --missed: #ff7b72; --spurious: #56d4e8; --right: #56d364;
  --t0: #1d3d6b; --t1: #1d4a2b; --t2: #5a3a17; --t3: #43306b; --t4: #5c2740; --t5: #15484f; --t6: #4d4715; --t7: #39414e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 78rem; background: var(--ground);
  color: var(--ink); font: 15px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 0 0 .7rem; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0 .8rem; margin: 0;
  color: var(--faint); font-size: .9rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; color: var(--ink); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.card, article { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; }
.card { padding: .7rem 1rem; } .card b { display: block; font-size: 1.7rem; font-variant-numeric: tabular-nums; }
.card span, .note { color: var(--faint); font-size: .87rem; } .card.main b { color: var(--accent); }
.tables article { padding: 1rem 1.2rem; margin: 0 0 1rem; } .scroll { overflow-x: auto; } .note { margin: .7rem 0 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; } thead th { color: var(--faint); font-weight: 500; font-size: .87rem; }
tbody th { font-weight: 500; } tr.average { font-weight: 600; } tbody tr:last-child > * { border-bottom: 0; }
.bar { background: linear-gradient(to right, var(--bar) calc(var(--share) * 100%), transparent 0) no-repeat;
  min-width: 7rem; }
.heat { background: color-mix(in srgb, var(--missed) calc(var(--share) * 100%), transparent); min-width: 4.5rem; }
.heat.same { background: color-mix(in srgb, var(--right) calc(var(--share) * 45%), transparent); }
.stack { display: flex; gap: 2px; height: .9rem; margin: 0 0 .8rem; border-radius: .3rem; overflow: hidden;
  max-width: 40rem; }
.boundary { --kind: var(--boundary); } .type { --kind: var(--type); } .both { --kind: var(--both); }
.missed { --kind: var(--missed); } .spurious { --kind: var(--spurious); } .right { --kind: var(--right); }
.stack span { background: var(--kind); min-width: 3px; }
.kind { display: inline-block; padding: 0 .55em; border: 1px solid var(--kind); border-radius: 1em; color: var(--kind);
  font-style: normal; font-size: .78rem; font-weight: 600; background: none; }
#sentences { margin-top: 2rem; }
#filters { display: flex; flex-wrap: wrap; gap: .5rem .6rem; align-items: center; position: sticky; top: 0; padding: .6rem 0;
  background: var(--ground); z-index: 1; } #filters[hidden] { display: none; }
button.kind { cursor: pointer; font-family: inherit; padding: .15em .8em; }
button.kind[aria-pressed=true] { background: color-mix(in srgb, var(--kind) 16%, transparent); }
button.kind[aria-pressed=false] { opacity: .5; text-decoration: line-through; }
#filters label, #filters > span, output { color: var(--faint); font-size: .87rem; }
select, input { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: .4rem;
  padding: .1rem .4rem; } #filters input { width: 9rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.sentence { padding: .6rem 1rem; margin: .6rem 0; content-visibility: auto; contain-intrinsic-size: auto 7rem; }
.sentence[hidden] { display: none; }
.sentence header { display: flex; gap: .4rem; align-items: center; font-size: .8rem; color: var(--faint);
  margin-bottom: .2rem; }
.sentence header span { margin-right: auto; overflow-wrap: anywhere; }
.sentence p { display: grid; grid-template-columns: 5.2rem 1fr; margin: .15rem 0; line-height: 1.95; }
.sentence p > :only-child { grid-column: 1 / -1; }
.sentence p > b { font-weight: 500; color: var(--faint); font-size: .85rem; }
.sentence ul { margin: .3rem 0 0; padding: 0 0 0 5.2rem; list-style: none; font-size: .85rem; color: var(--faint); }
mark { color: inherit; padding: .12em .35em; border-radius: .35em; }
mark small { font-size: .65em; font-weight: 700; letter-spacing: .04em; margin-left: .5em; opacity: .8; }
mark.wrong { box-shadow: inset 0 0 0 2px var(--kind); }
"""
    + "\n".join(f"mark.t{i} {{ background: var(--t{i}); }}" for i in range(8))
    + """
@media (max-width: 40rem) { .sentence p { grid-template-columns: 1fr; } .sentence ul { padding-left: 0; } }
@media print { #filters { display: none !important; } body { background: none; } }
"""
)

SCRIPT = """
const form = document.getElementById('filters'), all = [...document.querySelectorAll('.sentence')];
const type = document.getElementById('type'), text = document.getElementById('text');
const buttons = [...form.querySelectorAll('button')];
const words = all.map(each => each.querySelector('p').textContent.toLowerCase());
function show() {
  const on = new Set(buttons.filter(b => b.getAttribute('aria-pressed') == 'true').map(b => b.dataset.kind));
  const wanted = text.value.trim().toLowerCase();
  let n = 0;
  all.forEach((each, i) => {
    const fits = each.dataset.kinds.split(' ').some(kind => on.has(kind))
      && (!type.value || each.dataset.types.split('|').includes(type.value)) && words[i].includes(wanted);
    each.hidden = !fits;
    n += fits;
  });
  document.getElementById('count').textContent = n + ' shown';
  document.getElementById('none').hidden = n > 0;
}
buttons.forEach(button => {
  button.addEventListener('click', () => {
    button.setAttribute('aria-pressed', button.getAttribute('aria-pressed') != 'true');
    show();
  });
  button.addEventListener('dblclick', () => {
    buttons.forEach(other => other.setAttribute('aria-pressed', other == button));
    show();
  });
});
type.addEventListener('change', show);
text.addEventListener('input', show);
form.addEventListener('submit', event => event.preventDefault());
form.hidden = false;
show();
"""
