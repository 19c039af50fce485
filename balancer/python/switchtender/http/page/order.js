// Which rows a table shows, and in which order. Pure.

const collator = new Intl.Collator("en", { numeric: true });

function compareKeys(one, other) {
  if (Array.isArray(one)) {
    for (let i = 0; i < one.length; i++) {
      const found = compareKeys(one[i], other[i]);
      if (found !== 0) return found;
    }
    return 0;
  }
  if (typeof one === "string") return collator.compare(one, other);
  return one - other;
}

/**
 * The items ordered by `keyOf`, whose keys are numbers, strings or lists of such; null keys come last either way.
 * Those of one key are ordered by `tie`, always ascending, so that they stand still.
 */
export function ordered(items, keyOf, tie, descending = false) {
  const keyed = items.map((item) => ({ item, key: keyOf(item) ?? null, tie: tie(item) }));
  keyed.sort((one, other) => {
    if (one.key === null || other.key === null) {
      if (one.key !== other.key) return one.key === null ? 1 : -1;
    } else {
      const found = compareKeys(one.key, other.key);
      if (found !== 0) return descending ? -found : found;
    }
    return compareKeys(one.tie, other.tie);
  });
  return keyed.map(({ item }) => item);
}

/** The items in the order in which their keys stood before; those that are new come where `items` has them, at the end. */
export function heldOrder(items, keyOf, before) {
  const known = new Map(items.map((item) => [keyOf(item), item]));
  const standing = before.filter((key) => known.has(key));
  const stood = new Set(standing);
  return [...standing.map((key) => known.get(key)), ...items.filter((item) => !stood.has(keyOf(item)))];
}

/** Whether a node is one of those asked for: every word in its names, address, state or reason; its state; its group. */
export function matches(node, { words, states, group }) {
  if (states.size > 0 && !states.has(node.state)) return false;
  if (group !== null && group !== `${node.namespace}/${node.group}`) return false;
  if (words.length === 0) return true;
  const text = [node.node, node.namespace, node.group, node.sip, node.esl ?? "", node.state, node.reason]
    .join(" ")
    .toLowerCase();
  return words.every((word) => text.includes(word));
}

/** The words of a filter as it was typed. */
export const wordsOf = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
