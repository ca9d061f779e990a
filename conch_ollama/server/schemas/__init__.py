"""What requests must look like: checked at the edge, and what /docs shows. Unknown fields are let through."""
