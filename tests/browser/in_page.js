// Loaded into every page of the browser tests: reads what JupyterLab (3 and 4) shows, as plain data.
window.courseTests = (() => {
  const NOTEBOOK = '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook';
  const notebook = () => document.querySelector(NOTEBOOK);
  const outermost = root => [...root.querySelectorAll('.jupyter-widgets')]
    .filter(widget => !widget.parentElement.closest('.jupyter-widgets'));

  // --- cells

  // 'idle' when all that was asked for has run, the text of a dialog that came up instead, false while it runs
  function ended() {
    const dialog = document.querySelector('.jp-Dialog');
    if (dialog) return 'a dialog: ' + dialog.innerText;
    const prompts = [...notebook().querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
    const indicator = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook-ExecutionIndicator');
    const idle = indicator.dataset.status === 'idle';
    return idle && !prompts.some(p => p.includes('*')) && prompts.some(p => /\d/.test(p)) ? 'idle' : false;
  }

  async function cells() {
    await Promise.all([...notebook().querySelectorAll('img')].map(image => image.decode().catch(() => 0)));
    return [...notebook().querySelectorAll('.jp-CodeCell')].map(cell => {
      const output = cell.querySelector('.jp-OutputArea-output') && cell.querySelector('.jp-OutputArea');
      const text = output ? output.innerText : '';
      // stderr and tracebacks have the same type up to JupyterLab 4.1 and later as well
      const red = '[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type="application/vnd.jupyter.error"]';
      return {
        prompt: cell.querySelector('.jp-InputPrompt').textContent.trim(),
        text,
        complaints: [...cell.querySelectorAll(red)].map(e => e.textContent),
        images: output ? [...output.querySelectorAll('img')].map(image => image.naturalWidth) : [],
        broken: /(Error (displaying|creating|rendering) widget|Loading widget\.\.\.|model not found|javascript error)/i.test(text),
      };
    });
  }

  // Scrolls the notebook down to `top`; returns how high all of it is.
  function scroll(top) {
    const boxes = [notebook(), ...notebook().querySelectorAll('.jp-WindowedPanel-outer')];
    const box = boxes.find(box => box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(box).overflowY));
    if (box) box.scrollTop = top;
    return box ? box.scrollHeight : 0;
  }

  // --- panels: the outermost widgets that have a live region. Bars of tqdm and the like have none.

  function panels() {
    const found = outermost(notebook()).filter(widget => widget.querySelector('[role=status]'));
    return found.map((widget, number) => {
      widget.dataset.panel = String(number);
      return widget.matches('.tl-quiz') || widget.querySelector('.tl-quiz') ? 'quiz' : 'explorer';
    });
  }

  function shown(panel) {
    const images = [...panel.querySelectorAll('img')];
    return {
      pictures: images.map(image => image.src),
      loaded: images.length > 0 && images.every(image => image.complete && image.naturalWidth > 0),
      alts: images.map(image => image.alt),
      code: [...panel.querySelectorAll('pre')].map(code => code.innerText).join(),
      status: [...panel.querySelectorAll('[role=status]')].map(line => line.innerText.trim()).join(' | '),
    };
  }

  const KINDS = {
    list: 'select', tick: 'input[type=checkbox]', radio: 'input[type=radio]', number: 'input[type=number]',
    slider: 'input[type=range], [role=slider], .ui-slider-handle', text: 'input, textarea, [contenteditable=true]',
    button: 'button',
  };
  const visible = element => element.offsetParent !== null && getComputedStyle(element).visibility !== 'hidden';
  let marks = 0;

  // What can be moved in a panel. Each control gets a mark (data-control="3") by which it is found again.
  function controls(panel) {
    const kind = element => Object.keys(KINDS).find(name => element.matches(KINDS[name]));
    const elements = [...panel.querySelectorAll(Object.values(KINDS).join(', '))];
    const found = elements.filter(e => visible(e) && !e.disabled).map(element => ({element, kind: kind(element)}));
    // The track of a number field: its handle is hidden, so it is for the mouse alone and needs no name.
    for (const handle of panel.querySelectorAll('.noUi-handle, .ui-slider-handle')) {
      if (!visible(handle) && visible(handle.closest('.noUi-target, .ui-slider'))) found.push({element: handle, kind: 'track'});
    }
    return found.map(({element, kind}) => {
      element.dataset.control = element.dataset.control || String(++marks);
      return {mark: element.dataset.control, kind};
    });
  }

  function value(element) {
    if (element.matches('[type=checkbox], [type=radio]')) return String(element.checked);
    if (element.matches('select')) return String(element.selectedIndex);
    if (element.matches('.noUi-handle')) return element.parentElement.style.transform;
    if (element.matches('.ui-slider-handle')) return element.style.left + element.style.bottom;
    return element.isContentEditable ? element.innerText : element.value;
  }

  return {NOTEBOOK, ended, cells, scroll, panels, shown, controls, value};
})();
