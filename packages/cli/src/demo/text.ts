/** Words for the rendered lines: plain English with capitals, figures and punctuation, written for this purpose. */
export const DEMO_TEXT = `
The harbour was quiet at 6:30 in the morning, and only two boats had left before sunrise. Martha counted 14 crates, wrote the number in her
small green notebook, and walked back along the pier. "You are early today," said the old man who mended nets; he had worked there since 1962.
She smiled and asked him about the weather. Rain by noon, he thought, perhaps wind from the north-west. Nobody in the village trusted the
forecast on the radio, because it was made for the city, 80 kilometres away. The bakery opened at seven. Fresh bread cost 3.20, a coffee 1.75,
and the owner knew every customer by name. Children ran past the window on their way to school, shouting about a football match. In the library
a student was reading about glaciers: how they move, why they melt, and what they leave behind. The book had 412 pages and many drawings. Her
teacher expected a short report by Friday. Outside, a yellow bus stopped near the bridge, let three passengers out, and continued towards the
mountains. One of them carried a violin case; another had a large map of the coast. The third, a tall woman with grey hair, looked for the
museum. It had moved in 2015 to a brick building behind the station, but most signs still pointed to the market square. Inside the museum there
were clocks, compasses, letters, and a model of the first lighthouse. Visitors could press a button to see the lamp turn. A notice explained
that its light reached 27 miles on a clear night. Upstairs, volunteers repaired old photographs with brushes and patience. They had finished
about 350 of them since last winter. Some showed storms, some showed weddings, and one showed a horse on the ferry. At noon the rain came, just
as the old man had said. Shops closed their doors, umbrellas appeared, and the streets became a row of small rivers. Martha sat in the kitchen,
added her figures twice, and found a mistake of exactly one crate. Tomorrow she would count again; for now the soup was hot, the radio played
quietly, and nobody needed to hurry. Later that evening the clouds broke, the moon rose over the water, and the lighthouse keeper wrote a single
line: "All calm, visibility good, 19 ships passed." He closed the book, turned off the heater, and went up the 136 steps to check the lamp.
`
