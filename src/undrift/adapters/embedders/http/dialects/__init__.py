"""One module for each family of servers; `undrift.adapters.embedders.http.profiles` says who speaks which."""
