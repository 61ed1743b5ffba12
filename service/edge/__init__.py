"""What lies around the application, whatever a request asks for."""
