"""Parts that pages share: escaping, formats, filters, headers, tables, empty and error states."""
