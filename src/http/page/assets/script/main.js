// What the upload page does beyond a plain form.
