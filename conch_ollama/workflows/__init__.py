"""Joins the rooms into what a user asks for."""
