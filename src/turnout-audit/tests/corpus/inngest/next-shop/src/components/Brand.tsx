import { useState } from "react";
import { useBrand } from "./useBrand";

/* a page that explains why we left Inngest */
export function Brand(): JSX.Element {
  const inngest = useBrand("hotel");
  const [open, setOpen] = useState(false);
  return (
    <section aria-label="inngest-hotels" onClick={() => setOpen(!open)}>
      <h1>{inngest.title}</h1>
      {/* inngest.send would be wrong here */}
      <p>We moved from Inngest to Trigger.dev in 2026.</p>
      <a href="https://www.inngest.com/blog">their blog</a>
      <button onClick={() => inngest.send("hello")}>Send</button>
    </section>
  );
}
