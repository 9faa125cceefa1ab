// Talking to the server: everything goes through here, errors come back as Error with words for a person.

async function answered(response) {
  if (response.status === 204) return null;
  const kind = response.headers.get("content-type") || "";
  const body = kind.includes("json") ? await response.json() : await response.text();
  if (response.ok) return body;
  const error = new Error(body && body.error ? body.error : String(body || response.statusText).trim());
  error.status = response.status;
  throw error;
}

export async function get(path) {
  return answered(await fetch(path));
}

export async function post(path, values = {}) {
  return answered(await fetch(path, {
    method: "POST",
    headers: { "X-Tam-Edit": "1", "Content-Type": "application/json" },
    body: JSON.stringify(values),
  }));
}

// fetch cannot tell how much was sent, so files go by XMLHttpRequest.
export function send(path, file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("X-Tam-Edit", "1");
    request.setRequestHeader("X-File-Name", encodeURIComponent(file.name));
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => (request.status < 300 ? resolve(request.response)
      : reject(new Error((request.response && request.response.error) || `refused (${request.status})`)));
    request.onerror = () => reject(new Error("the connection broke while the file was sent: send it again"));
    request.send(file);
  });
}
