(id, length) => [confirm("Delete this conversation for good?") ? id : "", length]
