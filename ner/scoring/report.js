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
