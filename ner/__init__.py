"""The named-entity tagger: data, model, scoring, prediction."""
