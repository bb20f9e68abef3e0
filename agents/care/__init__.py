"""Care for stored data: what is kept of whom, deletion with a receipt, retention and quotas."""
