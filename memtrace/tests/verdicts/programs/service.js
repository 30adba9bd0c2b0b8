// A service that does what its callers make it do, one line of input at a time, and says when it is done.
'use strict';

const readings = [];

// Keeps so many MiB of small things, as a cache does from which nothing is ever taken out.
function remember(mib) {
  for (let i = 0; i < mib * 1000; i++) {
    readings.push(new Array(128).fill(i + 0.5));
  }
}

const lines = require('readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [word, count] = line.split(' ');
  if (word === 'remember') {
    remember(Number(count));
  } else if (word !== 'nothing') {
    throw new Error(word);
  }
  console.log('done');
});
console.log('ready');
